"""World Stream Producer: streams the business traffic of READY runs to its ingress lane."""
