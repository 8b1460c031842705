"""Mesh rasteriser, multiplane compositor, volume renderer, piecewise-affine face warp."""
