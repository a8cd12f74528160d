"""The commands of ``kist oci``, one module per verb, imported when it is called."""
