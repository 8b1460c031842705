"""Images, videos, figures, the HTML report."""
