"""The degrade ladder: says on `control.posture` what decisions may use."""
