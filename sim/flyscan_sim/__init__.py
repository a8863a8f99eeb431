"""Simulated beamline hardware speaking real wire protocols."""
