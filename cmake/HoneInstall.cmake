# What `make install` copies. (Filled by the install rules below.)
