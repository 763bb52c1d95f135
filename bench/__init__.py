"""Measurements of the three paths beside what a user would pick instead. `python -m bench --help`.

    __main__    the command: which measurements, how many rounds
    machine     CPU and memory of process trees, from /proc
    kafka       the broker, topics, offsets, a reader that notes when records arrive
    targets     what is measured: ours, the baselines in `baseline/`, Redpanda Connect and Bento in `peers/`
    load        the load generator, a process of its own
    stub        Twilio's API as fast as Python serves it, a process of its own
    callbacks commands watch start growth    the measurements
    report plot    tables and pictures

Every figure is a ratio within one run: targets alternate in rounds, the order is reversed every other round.
"""
