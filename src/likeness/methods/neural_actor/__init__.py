"""Neural Actor: a filmed person from any view in any pose (Liu et al., SIGGRAPH Asia 2021)."""
