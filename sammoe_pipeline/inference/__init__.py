"""From an image and clicks, or no clicks, to masks on the image's own grid."""
