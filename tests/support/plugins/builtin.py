"""The built-in driver `trio` as a plugin file, as an operator's symlink is."""

from trio_driver.cli.main import main

if __name__ == "__main__":
    main()
