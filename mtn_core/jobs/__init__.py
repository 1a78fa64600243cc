"""Work of several processes or notebooks: msrun, the workbook."""
