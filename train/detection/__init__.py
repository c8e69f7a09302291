"""What detection computes: box codes, matches, losses, what is left of overlapping boxes, COCO's AP."""
