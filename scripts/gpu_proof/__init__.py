"""What a CUDA machine proves in one command: stages, each in a process of its own.

stages      what is run, in which order, under which conditions
schedule    which stages run beside each other
work        what a stage does, in its process
runner      one stage: its process, its time limit
gpu_memory  the GPU memory in use meanwhile
record      the results so far, written after every stage
report      the results as Markdown
"""
