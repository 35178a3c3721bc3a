"""`igbot up`: everything on one machine, watched over by one parent."""
