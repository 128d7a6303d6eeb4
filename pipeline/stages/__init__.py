"""The eight actors. They never import or call each other: they meet only through the rows they emit."""
