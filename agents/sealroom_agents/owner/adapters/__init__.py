# SPDX-License-Identifier: Apache-2.0
"""Files of hospitals and laboratories as tables: FHIR NDJSON, VCF, folders of DICOM.

Each is a form of `sealroom_agents.owner.prepare.forms`: what leaves is what `[input]` declares, and nothing
else. `fhir_paths` says which value of a resource is meant, `lines` reads files of lines.
"""
