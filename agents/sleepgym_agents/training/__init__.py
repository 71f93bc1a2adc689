"""Training at night: optimiser loop, distillation, rehearsal, generated questions and answers."""
