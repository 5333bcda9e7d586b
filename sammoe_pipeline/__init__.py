"""SAM-Med3D-MoE: new skills for a promptable 3D foundation model, without losing one it has."""
