"""From settings to what is started: executable, options, environment, made-up files.

Nothing is started here, and nothing here knows pytest.
"""
