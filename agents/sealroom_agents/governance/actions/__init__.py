# SPDX-License-Identifier: Apache-2.0
"""How each action of the desk is called: a module for each section, named as the one that has its functions.

Nothing heavy is imported here: the module with the functions is, when an action runs.
"""
