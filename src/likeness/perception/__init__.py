"""Faces, landmarks, head pose, segmentation, identity and bodies from real pixels."""
