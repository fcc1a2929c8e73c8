"""Which files of pictures are read, and in which ways."""

PICTURE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")
PICTURE_KINDS = "BMP, GIF, JPEG, PNG or WebP"

# Upright, on white; or as `tf.io.decode_image` reads them. See `tf_adaptive.data.decoding.decode`.
AS_SEEN, AS_STORED = "as_seen", "as_stored"
PICTURE_READINGS = (AS_SEEN, AS_STORED)

# 33.5 million: more than a camera of 32 megapixels gives. A picture of 10 kB can claim to be larger
# than the memory.
MAX_PIXELS = 2**25

# Where only the centre is seen, an image is first made small by its short side: one that is a pixel
# high would become as many times longer as it becomes higher.
MAX_ASPECT_RATIO = 100
