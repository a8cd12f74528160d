"""Named volumes: directories that outlive containers.

::

    volumes.py    the API: create, ls, inspect, rm, prune, and whole volumes in and out
    mounts.py     for containers: a volume for each mount, filled from the image; held while somebody runs
    recovery.py   what a killed server left
    table.py      which ones there are, who has them; made and removed whole
      use.py      where they lie, who uses them now
      driver.py   what their options mean
      content.py  export, import, snapshot, restore
      copyup.py   copying trees
"""
