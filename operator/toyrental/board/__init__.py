"""The board: a web page for people who do not use a terminal.

It only uses resources, as any client does, and always as the person who looks at it.
"""
