"""Cameras, rotations, meshes, skinning, face landmarks."""
