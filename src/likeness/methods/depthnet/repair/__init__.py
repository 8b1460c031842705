"""CycleGAN repair of warped faces: background synthesis, and clean-up after a swap (Moniz et al., section 3.3)."""
