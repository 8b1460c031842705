"""Networks of the neural renderer and of the texture predictor."""
