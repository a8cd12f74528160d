"""`kist ui`: the containers of a server, live, in a terminal. Textual is imported in this package and nowhere else.

    feed.py     a thread that asks the server: the list, the figures, what happens        → messages
    follow.py   a thread that follows one container's log                                 → lines
    model.py    rows, their history, order, filter, groups, totals                        (pure)
    words.py    numbers and foreign text, as they are shown                               (pure)
    plot.py     values → lines of dots                                                    (pure)
    columns.py  the columns of the list, as data                                          (pure)
    actions.py  what can be done to a container, as data
    look.py     colours of the two themes
    head.py     totals    table.py  the list    pane.py  plots, log, processes, details    bar.py  the bottom bar
    dialogs.py  confirm, menu, help
    window.py   the parts together: news come in, the parts are told what to show
    app.py      the keys
"""
