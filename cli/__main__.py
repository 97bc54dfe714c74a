"""`python -m nhnas` is the command line."""

from nhnas.main import main

if __name__ == "__main__":
    main()
