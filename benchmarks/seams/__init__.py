"""Seams between a recording and its true continuation, made faulty on purpose."""
