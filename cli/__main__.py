"""`python -m nhnas` and the script `nhnas`: the command line in a process of its own."""

from nhnas.interrupt import ignore_signals, leave_at_signals


def run() -> None:
    """Run the command line and leave with its exit code.

    Ctrl-C, SIGTERM and SIGHUP count from here on: importing all that a command needs takes a second. What is
    done when they come is done: Python takes a moment to leave, too.
    """
    leave_at_signals()
    from nhnas.main import main

    try:
        main()
    finally:
        ignore_signals()


if __name__ == "__main__":
    run()
