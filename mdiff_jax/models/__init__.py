"""The networks: encoder, prior, decoder. They know shapes and conditioning, nothing of noise schedules."""
