"""Command lines, and what the scripts make of them.

The first program is Elite360M on panoramas (``*_elite360m.py``), the second achievement-based training on perspective
images (``*_achievement.py``).

==============================  ============================================  ==============================
what                            first program                                 second program
==============================  ============================================  ==============================
command lines                   `elite360m`, `panorama_prediction`            `achievement`
option groups                   `elite360m`, `protocol`                       `achievement_groups`
option files, released names                                                  `argument_file`, `released_options`
options to datasets             `data`                                        `perspective`
options to network, settings    `training`, `evaluation`                      `perspective`
==============================  ============================================  ==============================

Both: `parser` (parser and option types), `groups` (option groups), `balancing` (the balancing method).
"""
