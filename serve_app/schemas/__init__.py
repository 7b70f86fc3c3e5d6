"""What goes over the wire: requests as they are validated, answers as they are shown.

Answers are built here from the domain and nowhere else. No path of the server is ever in one.
"""
