"""From a clip's features to its short-term and global memory."""
