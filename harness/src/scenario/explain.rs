//! A plan as text: what will be done, how many requests each measurement needs, how long it should take.
