"""Multi-modal temperature and margin schedules (MM-TS, arXiv 2603.08202)."""

__version__ = "0.1.0"
