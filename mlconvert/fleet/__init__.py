"""Fleets: the steps of a run on the machines of a Ray cluster, each on hardware of the kind that it is made for.

choice      whether a run goes to a cluster at all
addresses   what `--on` and `--store` say
store       files by their digest, and results of steps by their key, where every machine sees them
shipments   a job's request with its files, made to travel
node        the cluster's side: looks whether it may, does one job, puts the result into the store
cluster     Ray, and nothing else knows it
workers     the run's side: sends jobs, waits, sends again what was lost
"""
