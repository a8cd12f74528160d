"""The Hub's pages: rendered on the server, readable without scripts, styled by one hand-written sheet.

    routes.py    the table          render.py   templates, headers, forms, numbers for people
    browse.py    front, search, repository      image.py   image, layer, differences
    people.py    signing in, tokens, settings   networks.py    the local engine's map
    markdown.py, plot.py   (pure)
"""
