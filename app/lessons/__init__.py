"""Lessons: each is one YAML file in this folder, or in ``lessons`` of the Dropscope home, read by one reader.

A step asks for a prediction, shows what happens in a picture of the other pages, and explains it with the numbers that
``core`` computes for that picture.
"""
