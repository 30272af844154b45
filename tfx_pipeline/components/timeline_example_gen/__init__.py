"""The component that turns an event log into timelines, one `tf.Example` a user."""
