"""The exit that MSDNet and its descendants put on a feature map."""
