"""DepthNet: the depth of a face's 66 landmarks, learned without depth labels (Moniz et al., NeurIPS 2018)."""
