"""Who does the pass instead of this process's threads: processes, Ray, Dask."""
