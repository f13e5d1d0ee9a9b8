"""What a CUDA machine proves in one command: stages, each in a process of its own.

stages   what is run, in which order, under which conditions
work     what a stage does, in its process
runner   one stage: its process, its time limit, the GPU memory meanwhile
record   the results so far, written after every stage
report   the results as Markdown
"""
