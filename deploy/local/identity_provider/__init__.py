"""An identity provider to try the portal with, modelled on FranceConnect+ and hostile on request. Embedded only."""
