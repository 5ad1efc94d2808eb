"""`python -m restora` is the restora command."""

from restora.cli import main

if __name__ == "__main__":
    main()
