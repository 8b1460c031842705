"""The texture predictor: a video of normal maps to a video of texture maps (vid2vid, Wang et al., NeurIPS 2018)."""
