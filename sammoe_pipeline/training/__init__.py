"""Pretraining a foundation, finetuning experts, fitting locators and gates."""
