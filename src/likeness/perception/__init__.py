"""Faces, landmarks, head pose, masks, identities and bodies from real pixels."""
