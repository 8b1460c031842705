"""Images, videos, figures and the HTML page."""
