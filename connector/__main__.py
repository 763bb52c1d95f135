"""`python -m connector` is `twilio-kafka`."""

from connector.cli import main

if __name__ == "__main__":
    main()
