"""The public HTTP cache tests (npm http-cache-tests, github http-tests/cache-tests) against a real agent."""
