"""Features with fitted parameters (R8): frozen records and the steps that apply them; the fits run in each fold."""
