"""The dashboard: pages that ask ``core`` and draw the answer."""
